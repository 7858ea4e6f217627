export function countRoundTrips(url: string): Promise<{ trips: number; readonly url: string; close(): void }>
