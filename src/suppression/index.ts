/** Addresses that must not be mailed: the list, its history, and checking lists of addresses by it. */
export { type Filtered, type FilterOptions, filterList } from './filter-list.js'
export { suppressionHistory } from './history.js'
export { checkList, type ListCheck, type ListCheckOptions, type ListStatus } from './list-check.js'
export { activeSuppressions, findSuppression, lastingSuppressions, listSuppressions, type Suppression } from './look-up.js'
export { endedSuppressions, markRemovedAtProvider } from './provider-removal.js'
export { suppressedAmong } from './suppressed-among.js'
export {
  liftSuppression,
  nextStep,
  restoreSuppressed,
  suppressForUnavailability,
  suppressLastingly,
} from './suppressions.js'
