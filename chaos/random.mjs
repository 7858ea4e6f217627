// Seeded random numbers: the same seed gives the same receiving systems, retries and faults, but not the same timing.

/** @returns a generator of numbers in [0, 1) (mulberry32), with helpers. */
export function randomOf(seed) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    next,
    between: (least, most) => least + next() * (most - least),
    pick: (of) => of[Math.floor(next() * of.length)],
    chance: (share) => next() < share,
    /** Picks a key at random by weight. */
    weighted: (weights) => {
      let at = next() * Object.values(weights).reduce((a, b) => a + b, 0)
      for (const [key, weight] of Object.entries(weights)) {
        at -= weight
        if (at < 0) return key
      }
      return Object.keys(weights)[0]
    },
  }
}
