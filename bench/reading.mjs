// Parsing bounces: against Sisimai (Perl, Debian's libsisimai-perl), if installed, on the same files, and against MIME parsing
// alone. Files: ../shared/bounces if it exists, else the project's own corpus.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseReport } from '../dist/dsn/index.js'
import { takeApart } from '../dist/dsn/mail.js'
import { memoryOf } from './support/memory.mjs'

const AT_ONCE = 32
const SECONDS = 5

const folder = [new URL('../../shared/bounces/open/', import.meta.url), new URL('../test/corpus/real/', import.meta.url)].find(existsSync)
const paths = readdirSync(folder).map((name) => fileURLToPath(new URL(name, folder)))

/** Mails per second of a step after warm-up, and the process's memory then. */
async function rate(mails, step) {
  const round = async () => {
    let i = 0
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        while (i < mails.length) await step(mails[i++])
      }),
    )
  }
  for (let warm = 0; warm < 3; warm += 1) await round()
  const began = performance.now()
  let n = 0
  while (performance.now() - began < SECONDS * 1000) {
    await round()
    n += mails.length
  }
  return { perSecond: (n / (performance.now() - began)) * 1000, mib: memoryOf() }
}

const PERL = `use Sisimai; use Time::HiRes 'time'; Sisimai->make($_) for @ARGV; my ($t, $n) = (time, 0);
while (time - $t < ${SECONDS}) { Sisimai->make($_) for @ARGV; $n += @ARGV }
my $kb = 0; if (open my $s, '<', '/proc/self/status') { /^VmRSS:\\s+(\\d+)/ and $kb = $1 while <$s> }
printf '{"perSecond": %f, "mib": %d}', $n / (time - $t), $kb / 1024`

function sisimai() {
  try {
    return JSON.parse(execFileSync('perl', ['-e', PERL, ...paths], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
  } catch {
    return null
  }
}

export async function reading() {
  const mails = paths.map((path) => readFileSync(path))
  const apart = await rate(mails, takeApart)
  const theirs = sisimai()
  const ours = await rate(mails, parseReport)
  const row = ({ perSecond, mib }, beside) => ({
    'mails/s': Math.round(perSecond),
    softbounce: beside === null ? '' : `${(ours.perSecond / beside.perSecond).toFixed(2)} times`,
    'memory of the process, MiB': mib,
  })
  return {
    [`softbounce reads (${mails.length} files)`]: row(ours, null),
    ...(theirs === null ? {} : { 'Sisimai (Perl) reads': row(theirs, theirs) }),
    'taken apart alone (mailsplit)': row(apart, apart),
  }
}
