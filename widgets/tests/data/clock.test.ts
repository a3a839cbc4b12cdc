import { describe, expect, it } from "vitest";
import { KernelClock } from "../../src/data/clock";
import { random } from "../synthetic";

describe("KernelClock", () => {
  it("says 0 before anything was heard", () => {
    expect(new KernelClock(5).now(100)).toBe(0);
  });

  it("follows the kernel's clock through late messages, and never runs backwards", () => {
    const next = random(1);
    const clock = new KernelClock(5);
    let before = 0;
    let worst = 0;
    for (let here = 1000; here < 1060; here += 0.02) {
      // Ten messages a second, each up to 80 ms late.
      if (Math.round(here * 50) % 5 === 0) clock.hear(here - 900 - next() * 0.08, here);
      const now = clock.now(here);
      expect(now).toBeGreaterThanOrEqual(before);
      before = now;
      if (here > 1005) worst = Math.max(worst, Math.abs(here - 900 - now));
    }
    expect(worst).toBeLessThan(0.08);
  });

  it("does not jump by a message's whole delay", () => {
    const clock = new KernelClock(5);
    for (let here = 0; here < 10; here += 0.1) clock.hear(here, here);
    clock.hear(9, 10);
    expect(clock.now(10)).toBeGreaterThan(9.9);
  });

  it("stands where nothing is heard, and goes on when something is", () => {
    const clock = new KernelClock(5);
    clock.hear(10, 100);
    expect(clock.now(104)).toBe(14);
    expect(clock.now(106)).toBe(15);
    expect(clock.now(500)).toBe(15);
    clock.hear(410, 500);
    expect(clock.now(501)).toBe(411);
  });

  it("stands still where the kernel's clock fell behind, until that has caught up", () => {
    const clock = new KernelClock(5);
    clock.hear(100, 0);
    expect(clock.now(4)).toBe(104);
    clock.hear(90, 5);
    expect(clock.now(6)).toBe(104);
    clock.hear(110, 25);
    expect(clock.now(26)).toBe(111);
  });

  it("begins anew for another kernel", () => {
    const clock = new KernelClock(5);
    clock.hear(1000, 0);
    expect(clock.now(1)).toBe(1001);
    clock.reset();
    clock.hear(3, 2);
    expect(clock.now(3)).toBe(4);
  });

  it("is held when the kernel says that it is over", () => {
    const clock = new KernelClock(5);
    clock.hear(10, 0);
    clock.hold(10);
    expect(clock.now(4)).toBe(10);
  });
});
