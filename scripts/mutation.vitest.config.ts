import { defineConfig } from 'vitest/config'

/** The tests that `npm run mutation` runs: those that execute the mutated code in-process and need no server. */
// biome-ignore lint/style/noDefaultExport: vitest asks for one
export default defineConfig({
  test: {
    include: [
      'test/bounce/*.test.ts',
      'test/delivery/outcome.test.ts',
      'test/delivery/return-path.test.ts',
      'test/encryption/codec.test.ts',
      'test/workflows/{endings,lifecycle,receive}.test.ts',
    ],
  },
})
