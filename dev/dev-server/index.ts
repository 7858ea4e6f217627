/** Temporal for development, tests and the demo: found or fetched, started on free ports, ended by its process id. */
export { cacheFolder, findProgram, TEMPORAL_CLI, TEST_SERVER } from './binaries.js'
export { type DevServer, type DevServerOptions, freePort, startDevServer } from './dev-server.js'
