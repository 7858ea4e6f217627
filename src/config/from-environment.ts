/** The file and the environment as options of the library. */
import type { Config } from './options.js'
import { type Loaded, load } from './sources.js'
import { WrongSettings } from './wrong-settings.js'

/** Where configurations that `fromEnvironment` returned came from. */
const ORIGINS = new WeakMap<object, Loaded>()

/** Where a configuration came from; undefined if the program made it. */
export const originOf = (config: object): Loaded | undefined => ORIGINS.get(config)

/**
 * The configuration from `softbounce.yaml` and `SOFTBOUNCE_...` in the environment, as options of `track`, `SoftbounceClient.connect` and the
 * plugin. Each of them checks the settings that it uses.
 * @throws WrongSettings if the file or a variable cannot be read, or if a name is unknown.
 * @example
 * const transporter = track(nodemailer.createTransport(url), fromEnvironment())
 */
export function fromEnvironment(environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  const loaded = load(environment)
  if (loaded.faults.length > 0) throw new WrongSettings(loaded.faults)
  const config: Config = loaded.raw
  ORIGINS.set(config, loaded)
  return config
}
