// Draws what tests are tried with, the same every time: a failure can be repeated.

/** A source of whole numbers below `limit` (mulberry32). */
export function drawing(seed) {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

/** A text of up to `most` of these pieces. */
export function assembled(draw, pieces, most) {
  return Array.from({ length: draw(most + 1) }, () => pieces[draw(pieces.length)]).join('');
}
