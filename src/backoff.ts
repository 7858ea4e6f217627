/**
 * Exponential backoff: `firstMs` after the first failure, doubled with each further one, at most `longestMs`.
 * @param failures failures in a row, from 1.
 * @returns ms
 * @example backoff(3, 1000, 60_000) // 4000
 */
export function backoff(failures: number, firstMs: number, longestMs: number): number {
  return Math.min(firstMs * 2 ** Math.min(Math.max(0, failures - 1), 20), longestMs)
}
