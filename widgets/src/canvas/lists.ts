/** Lists of numbers that keep their memory from one frame to the next. */
abstract class List<T extends Int32Array | Float32Array> {
  length = 0;

  constructor(
    public data: T,
    private readonly make: (length: number) => T,
  ) {}

  push(value: number): void {
    if (this.length === this.data.length) {
      const more = this.make(this.data.length * 2);
      more.set(this.data);
      this.data = more;
    }
    this.data[this.length++] = value;
  }

  clear(): void {
    this.length = 0;
  }
}

export class IntList extends List<Int32Array> {
  constructor() {
    super(new Int32Array(256), (length) => new Int32Array(length));
  }
}

export class FloatList extends List<Float32Array> {
  constructor() {
    super(new Float32Array(256), (length) => new Float32Array(length));
  }
}

/** An array of at least this length, its first `length` values zero; the old one where it is long enough. */
export function zeroed<T extends Float32Array | Uint32Array | Int32Array | Uint8Array>(
  array: T,
  length: number,
  make: (n: number) => T,
): T {
  if (array.length < length) return make(Math.ceil(length * 1.25));
  array.fill(0, 0, length);
  return array;
}
