/** Invalid settings; the message lists every fault, one per line. */
export class WrongSettings extends Error {
  override name = 'WrongSettings'
  constructor(readonly faults: readonly string[]) {
    super(faults.join('\n'))
  }
}
