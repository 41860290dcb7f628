// What this engine brings along: StarlingMonkey has the Web's interfaces.

export const extension = 'samples.hello-starling'; // as in the manifest: a topic must start with it
export const language = 'javascript (starlingmonkey)';

const encoder = new TextEncoder();

// The host's own randomness, asked for anew in each call.
export function randomBytes(count) {
  return crypto.getRandomValues(new Uint8Array(count));
}

export function utf8(text) {
  return encoder.encode(text);
}
