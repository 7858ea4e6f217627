/** Temporal's client for a SoftbounceClient: opened by Temporal's own profile and environment, or one that the caller has. */
import { Client, Connection } from '@temporalio/client'
import { loadClientConnectConfig } from '@temporalio/envconfig'
import type { EncryptionKey } from '../config/index.js'
import { clientDataConverter } from '../encryption/index.js'
import { requireNamespace } from '../temporal/namespace.js'
import { startTracing } from '../temporal/tracing.js'

const CONNECT_WITHIN_MS = 3000

/**
 * Connects to Temporal.
 * @param closers gets what closes the connection.
 * @throws Error naming the address or the namespace, and what to do.
 */
export async function connectTemporal(keys: readonly EncryptionKey[], closers: (() => Promise<void>)[]): Promise<Client> {
  const { connectionOptions, namespace } = loadClientConnectConfig()
  const connection = await Connection.connect({ ...connectionOptions, connectTimeout: CONNECT_WITHIN_MS }).catch((error: Error) => {
    const address = connectionOptions.address ?? 'localhost:7233'
    throw new Error(`Temporal cannot be reached at ${address} (${error.message}); start it, or set TEMPORAL_ADDRESS or a profile`)
  })
  closers.push(() => connection.close())
  await requireNamespace(connection, namespace ?? 'default', connectionOptions.address)
  const tracing = await startTracing()
  if (tracing !== null) closers.push(() => tracing.stop())
  return new Client({
    ...{ connection, dataConverter: clientDataConverter(keys) },
    ...(namespace === undefined ? {} : { namespace }),
    ...(tracing === null ? {} : { plugins: [tracing.plugin] }),
  })
}

/** The caller's client; if there are keys, with a data converter that uses them. */
export function encryptingClient(temporal: Client, keys: readonly EncryptionKey[]): Client {
  if (keys.length === 0) return temporal
  const { namespace, identity, interceptors } = temporal.options
  return new Client({ connection: temporal.connection, namespace, identity, interceptors, dataConverter: clientDataConverter(keys) })
}
