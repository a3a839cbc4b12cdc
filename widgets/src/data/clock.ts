/**
 * The kernel's clock, estimated from what its messages say.
 *
 * A message that says "it is 12.3" was under way for an unknown while, so the kernel's clock is ahead of it by at least
 * nothing: a message that came quicker than the estimate tells more than one that came late, and pulls harder.
 *
 * Rule: it never runs backwards, and it stands where nothing was heard for a while.
 */
const QUICK = 0.5;
const LATE = 0.05;
/** Seconds; further off than this is no delay but another time altogether (a machine that slept). */
const JUMP = 2;

export class KernelClock {
  private offset: number | null = null;
  private heard = 0;
  private last = 0;
  private held: number | null = null;

  /** `patience`: how many seconds it runs on after the last message. Both clocks are in seconds. */
  constructor(private readonly patience: number) {}

  /** A message that says `kernel` came at `here`. */
  hear(kernel: number, here: number): void {
    const said = kernel - here;
    if (this.offset === null || Math.abs(said - this.offset) > JUMP) this.offset = said;
    else this.offset += (said - this.offset) * (said > this.offset ? QUICK : LATE);
    this.heard = here;
    this.held = null;
  }

  /** The kernel said that nothing comes any more: the clock stands at `kernel`. */
  hold(kernel: number): void {
    this.held = kernel;
  }

  /** Another kernel, another time. */
  reset(): void {
    this.offset = null;
    this.last = 0;
    this.held = null;
  }

  now(here: number): number {
    if (this.offset === null) return 0;
    const time = this.held ?? Math.min(here, this.heard + this.patience) + this.offset;
    this.last = Math.max(this.last, time);
    return this.last;
  }
}
