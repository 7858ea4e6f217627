// An application that sends by nodemailer: recipients that are refused temporarily are retried, and no mail is lost.
//   npm install softbounce nodemailer
//   SOFTBOUNCE_DATABASE_URL=... SOFTBOUNCE_RETURN_PATH_KEYS=... node nodemailer-app.mjs smtp://127.0.0.1:25 ann@example.org
import nodemailer from 'nodemailer'
import { fromEnvironment, SuppressedRecipients, track } from 'softbounce/track'

const [url, to] = process.argv.slice(2)
const transporter = track(nodemailer.createTransport(url), fromEnvironment())
try {
  const info = await transporter.sendMail({ from: 'shop@example.com', to, subject: 'Your invoice', text: 'Thank you.' })
  for (const { recipient, retryAt, workflowId } of info.retries ?? []) console.log(`${recipient} is retried at ${retryAt} by ${workflowId}`)
  for (const recipient of info.accepted ?? []) console.log(`${recipient} accepted it`)
} catch (error) {
  if (!(error instanceof SuppressedRecipients)) throw error
  for (const { address, until } of error.suppressions) console.log(`${address} is suppressed ${until === null ? '' : `until ${until.toISOString()}`}`)
} finally {
  transporter.close()
}
