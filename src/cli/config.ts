import { loadClientConnectConfig } from '@temporalio/envconfig'
import type { Command } from 'commander'
import { readSettings, showSettings } from '../config.js'
import { json, table } from './output.js'

export function addConfig(program: Command): void {
  program
    .command('config')
    .description('every setting, its value and where it came from; secrets are masked')
    .option('--json', 'print JSON, one object a line')
    .action((options: { json?: boolean }) => {
      const { connectionOptions, namespace } = loadClientConnectConfig()
      const temporal = [
        { name: 'TEMPORAL_ADDRESS', value: connectionOptions.address ?? 'localhost:7233', source: "Temporal's environment or profile" },
        { name: 'TEMPORAL_NAMESPACE', value: namespace ?? 'default', source: "Temporal's environment or profile" },
      ]
      const shown = [...showSettings(), ...temporal]
      if (options.json) for (const setting of shown) json(setting)
      else table(shown.map(({ name, value, source }) => [name, value === '' ? '(none)' : value, source]))
      readSettings()
    })
}
