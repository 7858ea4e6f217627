/** softbounce config: the settings in force, and where each comes from. */
import { loadClientConnectConfig } from '@temporalio/envconfig'
import type { Command } from 'commander'
import { readSettings, showSettings, temporalEnvironment } from '../config/index.js'
import { json, table } from './output.js'

const sourceOf = (value: string | undefined) => (value === undefined ? 'default' : "Temporal's environment, .env or profile")

export function addConfig(program: Command): void {
  program
    .command('config')
    .description('every setting, its value and where it came from; secrets are masked')
    .option('--json', 'print JSON, one object a line')
    .action((options: { json?: boolean }) => {
      const { connectionOptions, namespace } = loadClientConnectConfig({ overrideEnvVars: temporalEnvironment() })
      const temporal = [
        { name: 'TEMPORAL_ADDRESS', value: connectionOptions.address ?? 'localhost:7233', source: sourceOf(connectionOptions.address) },
        { name: 'TEMPORAL_NAMESPACE', value: namespace ?? 'default', source: sourceOf(namespace) },
      ]
      const shown = [...showSettings(), ...temporal]
      if (options.json) for (const setting of shown) json(setting)
      else table(shown.map(({ name, value, source }) => [name, value === '' ? '(none)' : value, source]))
      readSettings()
    })
}
