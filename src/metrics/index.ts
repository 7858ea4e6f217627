/** Metrics for Prometheus, and the HTTP port that tells them. */
export { serveHttp } from './http.js'
export { Metrics } from './metrics.js'
