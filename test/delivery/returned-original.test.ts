import { expect, test } from 'vitest'
import { withoutReturningTrace } from '../../src/delivery/index.js'

const AUTHORED = 'From: shop@example.com\r\nTo: ann@example.org\r\nMessage-ID: <1@example.com>\r\n\r\nDelivered-To: ann@example.org\r\n'
const strip = (header: string, ...recipients: string[]) =>
  withoutReturningTrace(Buffer.from(header + AUTHORED), recipients.length === 0 ? ['ann@example.org'] : recipients).toString()

test.each([
  [
    'what the last system put on top',
    'Return-Path: <a@b.example>\r\nX-Original-To: ann@example.org\r\nDelivered-To: inner@example.org\r\nReceived: by mx\r\n',
    'Received: by mx\r\n',
  ],
  [
    'the recipient’s own Delivered-To below a Received',
    'Received: by mx2\r\nDelivered-To: Ann@EXAMPLE.org\r\nReceived: by mx\r\n',
    'Received: by mx2\r\nReceived: by mx\r\n',
  ],
  ['a folded field', 'Delivered-To:\r\n <ann@example.org>\r\nReceived: by mx\r\n', 'Received: by mx\r\n'],
  ['without a Received', 'Delivered-To: ann@example.org\r\n', ''],
])('%s is taken off', (_, header, left) => {
  expect(strip(header)).toBe(left + AUTHORED)
})

test.each([
  ['another recipient’s Delivered-To below a Received', 'Received: by mx\r\nDelivered-To: list@example.com\r\n'],
  [
    'what the signature of our relay covers',
    'DKIM-Signature: v=1; d=example.com; h=from:to:list-unsubscribe;\r\n b=x\r\nList-Unsubscribe: <mailto:u@example.com>\r\nReceived: by mx\r\n',
  ],
  ['signatures above it', 'DKIM-Signature: v=1; d=example.com\r\nARC-Seal: i=1\r\nReceived: by mx\r\n'],
  ['a sender’s own fields above a Received', 'Subject: x\r\nX-Ours: y\r\nReceived: by mx\r\n'],
  ['a message without trace', ''],
])('%s stays', (_, header) => {
  expect(strip(header)).toBe(header + AUTHORED)
})

test('the address that the recipient was expanded to counts too', () => {
  expect(strip('Received: by mx\r\nDelivered-To: inner@example.org\r\n', 'ann@example.org', 'inner@example.org')).toBe(
    `Received: by mx\r\n${AUTHORED}`,
  )
})
