/** Limits the distinct values of a label; later ones become `other`. */
export class LabelLimiter {
  readonly #names = new Set<string>()

  constructor(private readonly most: number) {}

  name(given: string): string {
    if (this.#names.has(given)) return given
    if (this.#names.size >= this.most) return 'other'
    this.#names.add(given)
    return given
  }
}
