// What only QuickJS needs: it has the language but none of the Web's interfaces.

export const extension = 'samples.hello-quickjs'; // as in the manifest: a topic must start with it
export const language = 'javascript (quickjs)';

// This engine's only randomness; every call starts from the same snapshot, so it is the same in each of them.
// Never draw ids or keys from it.
export function randomBytes(count) {
  return Uint8Array.from({ length: count }, () => Math.floor(Math.random() * 256));
}

// What `TextEncoder.encode` does elsewhere (Encoding Standard, "UTF-8 encoder"); a lone surrogate becomes U+FFFD.
export function utf8(text) {
  const bytes = new Uint8Array(text.length * 3);
  let length = 0;
  for (const character of text) {
    let point = character.codePointAt(0);
    if (point >= 0xd800 && point <= 0xdfff) point = 0xfffd;
    if (point < 0x80) {
      bytes[length++] = point;
    } else if (point < 0x800) {
      bytes[length++] = 0xc0 | (point >> 6);
      bytes[length++] = 0x80 | (point & 0x3f);
    } else if (point < 0x10000) {
      bytes[length++] = 0xe0 | (point >> 12);
      bytes[length++] = 0x80 | ((point >> 6) & 0x3f);
      bytes[length++] = 0x80 | (point & 0x3f);
    } else {
      bytes[length++] = 0xf0 | (point >> 18);
      bytes[length++] = 0x80 | ((point >> 12) & 0x3f);
      bytes[length++] = 0x80 | ((point >> 6) & 0x3f);
      bytes[length++] = 0x80 | (point & 0x3f);
    }
  }
  return bytes.slice(0, length);
}
