import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.js'

/** `npm run test:slow`: what is slow by nature (browsers, upgrades, real minutes); `npm test` leaves it out; `all` is both. */
const which = process.env.TEST_SUITE ?? 'quick'
/** `npm run test:cluster`: what depends on the server, once more on a real cluster. */
const ON_A_CLUSTER = [
  ...['at-start', 'contract', 'encryption', 'events', 'hand-over', 'nexus', 'real-time.slow', 'upgrade.slow'].map(
    (name) => `test/end-to-end/${name}.test.ts`,
  ),
  'test/cluster/*.cluster.test.ts',
]
const shuffled = process.argv.some((argument) => argument.startsWith('--sequence.shuffle'))

// biome-ignore lint/style/noDefaultExport: vitest asks for one
export default defineConfig({
  test: {
    include: which === 'cluster' ? ON_A_CLUSTER : which === 'slow' ? ['test/**/*.slow.test.ts'] : ['test/**/*.test.ts'],
    exclude: { quick: ['test/**/*.slow.test.ts', 'test/**/*.cluster.test.ts'], all: ['test/**/*.cluster.test.ts'] }[which] ?? [],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['default', './test/support/counts-reporter.ts'],
    // no test is about its own speed: on a machine that is busy each gets its time
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // on two cores, since most of them wait for something
    maxWorkers: which === 'quick' ? 7 : which === 'cluster' ? 3 : 5,
    // each of those reads Temporal's SDK once, not for every file
    isolate: false,
    sequence: shuffled ? {} : { sequencer: LongestFirst },
  },
})
