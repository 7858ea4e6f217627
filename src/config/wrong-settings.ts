/** Invalid settings; the message lists every fault, one per line. */
export class WrongSettings extends Error {
  override name = 'WrongSettings'
  readonly code = 'ESETTINGS'
  constructor(readonly faults: readonly string[]) {
    super(faults.join('\n'))
  }
}

/** Reports what is wrong with the setting at this path, such as `relay.tls`. */
export type AddFault = (path: string, text: string) => void
