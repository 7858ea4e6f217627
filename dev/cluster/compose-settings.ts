/** What docker-compose.yml sets for Temporal's server: the cluster runs the same version with the same settings. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const root = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

export interface ComposeSettings {
  /** Of the server, such as `1.32.1`. */
  readonly version: string
  /** The variables of the service `temporal`. */
  readonly environment: Readonly<Record<string, string>>
  /** `RETENTION` of the namespace. */
  readonly retention: string
  readonly dynamicConfig: string
  readonly schemaScript: string
  readonly namespaceScript: string
}

interface Service {
  readonly image: string
  readonly environment: Record<string, string>
}

export function composeSettings(): ComposeSettings {
  const { services } = parse(readFileSync(root('docker-compose.yml'), 'utf8'), { merge: true }) as { services: Record<string, Service> }
  const { temporal, 'temporal-namespace': namespace } = services
  const version = /^temporalio\/server:(.+)$/.exec(temporal?.image ?? '')?.[1]
  if (temporal === undefined || namespace === undefined || version === undefined)
    throw new Error('docker-compose.yml has no services temporal (temporalio/server:VERSION) and temporal-namespace')
  return {
    version,
    environment: temporal.environment,
    retention: namespace.environment.RETENTION ?? '',
    dynamicConfig: root('deploy/temporal/dynamic-config.yaml'),
    schemaScript: root('deploy/temporal/schema.sh'),
    namespaceScript: root('deploy/temporal/namespace.sh'),
  }
}
