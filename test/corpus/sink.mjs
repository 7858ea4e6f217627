// The receiving system of make-corpus.sh: down@ is refused with "421 4.3.2", gone@ with "550 5.1.1", wait@ is accepted; mail with the null
// sender (a bounce) is written to the folder, one file each.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SMTPServer } from 'smtp-server'

const [port, folder] = process.argv.slice(2)
let n = 0
const refuse = (code, text) => Object.assign(new Error(text), { responseCode: code })
new SMTPServer({
  disabledCommands: ['AUTH', 'STARTTLS'],
  hideENHANCEDSTATUSCODES: true,
  disableReverseLookup: true,
  authOptional: true,
  onRcptTo: ({ address }, _session, done) => {
    if (address.startsWith('down')) done(refuse(421, '4.3.2 System not accepting network messages'))
    else if (address.startsWith('gone')) done(refuse(550, `5.1.1 <${address}>: no such mailbox`))
    else done()
  },
  onData: (stream, session, done) => {
    const chunks = []
    stream.on('data', (chunk) => chunks.push(chunk))
    stream.on('end', () => {
      if (session.envelope.mailFrom === false || session.envelope.mailFrom.address === '') {
        n += 1
        writeFileSync(join(folder, `bounce-${n}.eml`), Buffer.concat(chunks))
      }
      done()
    })
  },
}).listen(Number(port), '127.0.0.1')
