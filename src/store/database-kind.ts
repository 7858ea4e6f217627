export type DatabaseKind = 'sqlite' | 'postgres'

/** Which database a URL names; null if it is neither. */
export function databaseKind(url: string): DatabaseKind | null {
  if (/^file:./.test(url)) return 'sqlite'
  return /^postgres(ql)?:\/\/./.test(url) ? 'postgres' : null
}
