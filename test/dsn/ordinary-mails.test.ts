/** A person's mail is no bounce, whatever it talks about; neither is a newsletter, a ticket, or a forwarded bounce with a comment. */
import { expect, test } from 'vitest'
import { read } from '../../src/dsn/index.js'
import { mailsAboutDelivery, type OrdinaryMail, ordinaryMails } from '../corpus/ordinary-mails.js'

async function bouncesAmong(mails: readonly OrdinaryMail[]): Promise<string[]> {
  const found: string[] = []
  for (const { name, mail } of mails) {
    const { report, why } = await read(Buffer.from(mail))
    if (report !== null && report.recipients.length > 0) found.push(`${name}: ${why}`)
  }
  return found
}

test('three hundred ordinary mails are no bounces', async () => {
  const mails = ordinaryMails()
  expect(mails.length).toBeGreaterThanOrEqual(300)
  expect(await bouncesAmong(mails)).toEqual([])
})

test('a hundred mails in which people talk about delivery are no bounces', async () => {
  const mails = mailsAboutDelivery()
  expect(mails.length).toBeGreaterThanOrEqual(100)
  expect(await bouncesAmong(mails)).toEqual([])
})

test('the same words from a mail system are a bounce', async () => {
  const mail = Buffer.from(
    'Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.net\r\nSubject: failure\r\n\r\nThe following address failed:\r\n\r\n  clara@customer.example.org\r\n',
  )
  expect((await read(mail)).report?.recipients).toMatchObject([{ recipient: 'clara@customer.example.org', action: 'failed' }])
})
