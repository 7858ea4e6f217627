/** A real Temporal cluster for tests, chaos and benchmarks: builds the server once, starts its services, stops them by their process IDs. */
import { composeSettings } from './compose-settings.js'
import { withoutCluster as whyNot } from './programs.js'

export { type Cluster, type ClusterOptions, startCluster } from './cluster.js'
export { composeSettings } from './compose-settings.js'
export type { ClusterService, ServiceKind } from './service.js'

/** Why a cluster cannot run here; null if it can. */
export const withoutCluster = (): string | null => whyNot(composeSettings().version)
