/** A setting, and the type of a group's values. */
import type { z } from 'zod'

/** A setting: its default, documentation and schema. docs/settings.md is generated from these. */
export interface Setting {
  readonly default: string
  readonly doc: string
  readonly schema: z.ZodType<unknown, string>
  readonly secret?: boolean
}

export type Values<Group extends Record<string, Setting>> = { [Name in keyof Group]: z.infer<Group[Name]['schema']> }
