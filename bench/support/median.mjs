/** The median of some numbers; of an even number of them, the higher one in the middle. */
export const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]
