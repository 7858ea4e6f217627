/**
 * Makes pages of the live report in a thread of its own, with its own connection to the database: counting a large log or drawing charts
 * must not hold up the sends of the worker.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { type DatabaseSettings, openDatabase } from '../store/database.js'
import { makePage, type PageRequest } from './live-page.js'
import type { WebUi } from './web-ui-links.js'

/** What the thread is started with. */
export interface ThreadData {
  readonly database: DatabaseSettings
  readonly ui: WebUi | null
}

/** A page, or why there is none. */
export type ThreadAnswer = { readonly page: string } | { readonly error: string }

const { database: settings, ui } = workerData as ThreadData
const database = openDatabase(settings)

parentPort?.on('message', (request: PageRequest) => {
  makePage(database, ui, request).then(
    (page) => parentPort?.postMessage({ page } satisfies ThreadAnswer),
    (error: Error) => parentPort?.postMessage({ error: error.message } satisfies ThreadAnswer),
  )
})
