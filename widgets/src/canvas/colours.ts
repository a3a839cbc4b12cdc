/**
 * The colours of the canvas: each is a CSS custom property of the host, so that a theme is a style sheet's matter.
 *
 * The outcomes' are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which people with any of the common
 * colour blindnesses can tell apart; and still no outcome is told by colour alone (see `draw`).
 */

export const LIGHT = {
  bg: "#ffffff",
  fg: "#1f2430",
  muted: "#5f6875",
  grid: "#e4e8ed",
  lane: "#f7f8fa",
  line: "#cfd5dc",
  ok: "#009e73",
  error: "#d55e00",
  cancelled: "#8b939c",
  timeout: "#e69f00",
  crashed: "#cc79a7",
  running: "#56b4e9",
  cell: "#b9cfe4",
  user: "#0072b2",
  saturated: "#f0e442",
  tainted: "#d55e00",
  shared: "#0072b2",
  copied: "#e69f00",
  life: "#0072b2",
  now: "#1f2430",
  select: "#0072b2",
  focus: "#0072b2",
};

export type ColourName = keyof typeof LIGHT;
export type Colours = Readonly<Record<ColourName, string>>;

export const DARK: Colours = {
  ...LIGHT,
  bg: "#12151a",
  fg: "#e8ebf0",
  muted: "#98a2ae",
  grid: "#232931",
  lane: "#171b21",
  line: "#37404a",
  ok: "#0aa87d",
  error: "#e8702a",
  cancelled: "#838c97",
  cell: "#2c4763",
  user: "#56b4e9",
  shared: "#56b4e9",
  life: "#56b4e9",
  tainted: "#e8702a",
  now: "#e8ebf0",
  select: "#56b4e9",
  focus: "#8fd0f7",
};

export const COLOUR_NAMES = Object.keys(LIGHT) as ColourName[];

/** What the style sheet writes: `--snakepit-ok: #009e73; …`. */
export function asProperties(colours: Colours): string {
  return COLOUR_NAMES.map((name) => `--snakepit-${name}: ${colours[name]};`).join(" ");
}

/** As the host's style says; one that it does not set is that of the light theme. */
export function readColours(host: Element): Colours {
  const style = getComputedStyle(host);
  const read = (name: ColourName): string => style.getPropertyValue(`--snakepit-${name}`).trim() || LIGHT[name];
  return Object.fromEntries(COLOUR_NAMES.map((name) => [name, read(name)])) as Colours;
}

export function sameColours(a: Colours, b: Colours): boolean {
  return COLOUR_NAMES.every((name) => a[name] === b[name]);
}

/** Red, green, blue from 0 to 255; anything that is not #rgb, #rrggbb or rgb() is the middle grey. */
export function channels(colour: string): [number, number, number] {
  const long = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})/i.exec(colour);
  if (long) return [parseInt(long[1]!, 16), parseInt(long[2]!, 16), parseInt(long[3]!, 16)];
  const short = /^#([0-9a-f])([0-9a-f])([0-9a-f])/i.exec(colour);
  if (short) return [parseInt(short[1]!, 16) * 17, parseInt(short[2]!, 16) * 17, parseInt(short[3]!, 16) * 17];
  const said = /^rgba?\(\s*([\d.]+)[\s,]+([\d.]+)[\s,]+([\d.]+)/i.exec(colour);
  if (said) return [Number(said[1]), Number(said[2]), Number(said[3])];
  return [128, 128, 128];
}

/** The luminance that WCAG 2.2 defines. */
export function luminance(colour: string): number {
  const [r, g, b] = channels(colour).map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Black or white, whichever reads better on the colour. */
export function inkOn(colour: string): string {
  const light = luminance(colour);
  return (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) ? "#10141a" : "#ffffff";
}
