export { type Filtered, type FilterOptions, filterList } from './filter-list.js'
export { checkList, type ListCheck, type ListCheckOptions, type ListStatus } from './list-check.js'
export { suppressedAmong } from './suppressed-among.js'
export {
  activeSuppressions,
  endedSuppressions,
  findSuppression,
  liftSuppression,
  listSuppressions,
  markRemovedAtProvider,
  nextStep,
  restoreSuppressed,
  type Suppression,
  suppressForUnavailability,
  suppressionHistory,
  suppressLastingly,
} from './suppressions.js'
