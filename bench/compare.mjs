// Compares a run's table with an earlier one: cells that are numbers in both become the ratio of now to then.
const numberIn = (cell) => {
  const [text] = /^-?[\d,]+(\.\d+)?/.exec(String(cell)) ?? []
  return text === undefined ? null : Number(text.replaceAll(',', ''))
}

/** Rows match if all their non-numeric cells are equal. */
export function compared(before, now) {
  const keyOf = (row) => JSON.stringify(Object.values(row).filter((cell) => numberIn(cell) === null))
  return now.flatMap((row, i) => {
    const then = before.find((one) => keyOf(one) === keyOf(row)) ?? before[i]
    if (then === undefined) return []
    const ratio = (key) => {
      const [a, b] = [numberIn(row[key]), numberIn(then[key])]
      return a === null || b === null || b === 0 ? row[key] : `${(a / b).toFixed(2)} × ${then[key]}`
    }
    return [Object.fromEntries(Object.keys(row).map((key) => [key, ratio(key)]))]
  })
}

/** Columns that hold ratios within a run, and CPU times beyond a baseline; whether more is better. */
const WATCHED = {
  'of the pool': true,
  'of what is beside it': true,
  'beyond the pool, ms': false,
  'worker to bare': false,
  'all to bare': false,
}
const MUCH = 1.25

/** What is worse than before by a quarter or more. */
export function worseIn(before, now) {
  return now.flatMap((row, i) =>
    Object.entries(WATCHED).flatMap(([column, isMoreBetter]) => {
      const [is, was] = [numberIn(row[column]), numberIn(before[i]?.[column])]
      if (!is || !was || (isMoreBetter ? was / is : is / was) < MUCH) return []
      return [`${Object.values(row)[0]}: ${column} is ${is}, and was ${was}`]
    }),
  )
}
