// Randomness for an engine that has none of its own: QuickJS draws its seed while the component is built, so that
// `Math.random()` is the same in every call of every install. Everything here comes from the host at the call.

const QUOTA_BYTES = 65536; // of one getRandomValues: Web Cryptography, section 10.1.1
const INTEGER_ARRAYS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
];

/**
 * `crypto` and `Math.random` over a source of bytes.
 *
 * @param {(count: number) => Uint8Array} source that many bytes nobody can foresee, new at each call.
 */
export function createRandom(source) {
  function getRandomValues(array) {
    if (!INTEGER_ARRAYS.some((kind) => array instanceof kind)) {
      throw new TypeError('getRandomValues fills an array of integers');
    }
    if (array.byteLength > QUOTA_BYTES) {
      throw new RangeError(`getRandomValues fills at most ${QUOTA_BYTES} bytes, not ${array.byteLength}`);
    }
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(source(array.byteLength));
    return array;
  }

  // RFC 9562, section 5.4.
  function randomUUID() {
    const bytes = source(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
    return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join(
      '-',
    );
  }

  // 53 bits, which is what a number below 1 can hold.
  function random() {
    const [a, b, c, d, e, f, g] = source(7);
    return ((a & 0x1f) * 2 ** 48 + b * 2 ** 40 + c * 2 ** 32 + d * 2 ** 24 + ((e << 16) | (f << 8) | g)) / 2 ** 53;
  }

  return { crypto: { getRandomValues, randomUUID }, random };
}
