import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/support/longest-first.js'

/** `npm run test:slow`: what is slow by nature (browsers, upgrades, real minutes); `npm test` leaves it out; `all` is both. */
const which = process.env.TEST_SUITE ?? 'quick'
const shuffled = process.argv.some((argument) => argument.startsWith('--sequence.shuffle'))

// biome-ignore lint/style/noDefaultExport: vitest asks for one
export default defineConfig({
  test: {
    include: which === 'slow' ? ['test/**/*.slow.test.ts'] : ['test/**/*.test.ts'],
    exclude: which === 'quick' ? ['test/**/*.slow.test.ts'] : [],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['default', './test/support/counts-reporter.ts'],
    // no test is about its own speed: on a machine that is busy each gets its time
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // on two cores, since most of them wait for something
    maxWorkers: which === 'quick' ? 7 : 5,
    // each of those reads Temporal's SDK once, not for every file
    isolate: false,
    sequence: shuffled ? {} : { sequencer: LongestFirst },
  },
})
