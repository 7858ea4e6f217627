/** What a check of `softbounce doctor` found. */
export interface Finding {
  /** What was checked, such as `database` or `return path`. */
  readonly check: string
  readonly result: 'ok' | 'warning' | 'failure'
  readonly text: string
  /** What to do, unless it is ok. */
  readonly action?: string
}

export const ok = (check: string, text: string): Finding => ({ check, result: 'ok', text })
export const warning = (check: string, text: string, action: string): Finding => ({ check, result: 'warning', text, action })
export const failure = (check: string, text: string, action: string): Finding => ({ check, result: 'failure', text, action })
