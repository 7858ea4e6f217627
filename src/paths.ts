/** Files of this package: a bundle stands in the same folder as this file. */
import { fileURLToPath } from 'node:url'

/** @param path from the folder of the built package, such as `./workflow-bundle.js`. */
export const inPackage = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
