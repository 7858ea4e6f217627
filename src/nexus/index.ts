/** Retries for other namespaces, through a Nexus endpoint. */
export { nexusService } from './handlers.js'
