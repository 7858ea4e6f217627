/** What the logs add up to: per destination and mail server, per retry, per day. */
export * from './figures.js'
export type { Answers, Heat, Outage, OutageFigures, SystemFigures } from './systems.js'
export { longestOutages } from './systems.js'
export { DAY_MS, HOUR_MS, type Window } from './window.js'
