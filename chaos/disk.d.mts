/** Compiles disk.c into the folder. @returns its path, for LD_PRELOAD; null where there is no C compiler. */
export function compileDisk(folder: string): string | null
