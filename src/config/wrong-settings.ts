/** Settings that are wrong: every fault, one a line. */
export class WrongSettings extends Error {
  override name = 'WrongSettings'
  constructor(readonly faults: readonly string[]) {
    super(faults.join('\n'))
  }
}
