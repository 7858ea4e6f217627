import { defineConfig } from 'vitest/config'

/** The tests that `npm run mutation` asks: those that run the mutated code in the same process and need no server. */
// biome-ignore lint/style/noDefaultExport: vitest asks for one
export default defineConfig({
  test: {
    include: [
      'test/bounce/*.test.ts',
      'test/delivery/outcome.test.ts',
      'test/delivery/return-path.test.ts',
      'test/encryption/codec.test.ts',
      'test/workflows/lifecycle.test.ts',
    ],
  },
})
