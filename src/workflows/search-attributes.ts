/** The search attributes of a message's workflow, part of the public contract (docs/protocol.md). */
import { defineSearchAttributeKey } from '@temporalio/common'
import { upsertSearchAttributes } from '@temporalio/workflow'
import type { Prepared } from '../activities/index.js'

export const BounceRecipient = defineSearchAttributeKey('BounceRecipient', 'KEYWORD')
export const BounceDestination = defineSearchAttributeKey('BounceDestination', 'KEYWORD')
export const BounceStatus = defineSearchAttributeKey('BounceStatus', 'KEYWORD')
export const BounceOutcome = defineSearchAttributeKey('BounceOutcome', 'KEYWORD')

export function showBounce({ hashedRecipient, recipient, destination }: Prepared, status: string): void {
  upsertSearchAttributes([
    { key: BounceRecipient, value: hashedRecipient ?? recipient },
    { key: BounceDestination, value: destination },
    { key: BounceStatus, value: status },
  ])
}

export function showOutcome(outcome: string): void {
  upsertSearchAttributes([{ key: BounceOutcome, value: outcome }])
}
