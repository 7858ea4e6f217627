/** Temporal for development, tests and the demo: finds or downloads it, starts it on free ports, stops it by its process ID. */
export { cacheFolder, findProgram, TEMPORAL_CLI, TEST_SERVER } from './binaries.js'
export { type DevServer, type DevServerOptions, endProcess, freePort, startDevServer } from './dev-server.js'
