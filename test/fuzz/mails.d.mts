export interface Random {
  below(n: number): number
}
export function random(seed: number): Random
export function hostileMail(r: Random): Buffer
