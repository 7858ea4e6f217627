/**
 * How a receiving system is met: its limits, whose turn it is, what its answers teach. Pure: the clock and chance come in as arguments,
 * the state is kept by src/store, which decides under a lock, so that any number of workers share a limit exactly.
 */
export * from './learning.js'
export * from './limits.js'
export * from './systems.js'
export * from './turn.js'
