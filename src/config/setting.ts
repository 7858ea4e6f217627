/** What a group of settings is once it has been read. */
import type { z } from 'zod'

/** A setting: its default, how it is read, what it is for. docs/settings.md is made of this. */
export interface Setting {
  readonly default: string
  readonly doc: string
  readonly schema: z.ZodType<unknown, string>
  readonly secret?: boolean
}

export type Values<Group extends Record<string, Setting>> = { [Name in keyof Group]: z.infer<Group[Name]['schema']> }
