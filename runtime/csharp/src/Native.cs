using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace TisdissRt
{
    /// <summary>A bundle of the native library; frees itself.</summary>
    internal sealed class BundleHandle : SafeHandle
    {
        private BundleHandle() : base(IntPtr.Zero, true) { }

        public override bool IsInvalid => handle == IntPtr.Zero;

        protected override bool ReleaseHandle()
        {
            Native.tisdiss_close(handle);
            return true;
        }
    }

    /// <summary>A stream of the native library; frees itself.</summary>
    internal sealed class StreamHandle : SafeHandle
    {
        private StreamHandle() : base(IntPtr.Zero, true) { }

        public override bool IsInvalid => handle == IntPtr.Zero;

        protected override bool ReleaseHandle()
        {
            Native.tisdiss_stream_free(handle);
            return true;
        }
    }

    /// <summary>A string as the library takes it: UTF-8, terminated by a zero; null stays null.</summary>
    internal sealed class Utf8Text : IDisposable
    {
        internal Utf8Text(string text)
        {
            if (text == null)
            {
                return;
            }
            byte[] bytes = Encoding.UTF8.GetBytes(text + "\0");
            Pointer = Marshal.AllocHGlobal(bytes.Length);
            Marshal.Copy(bytes, 0, Pointer, bytes.Length);
        }

        internal IntPtr Pointer { get; private set; }

        public void Dispose()
        {
            Marshal.FreeHGlobal(Pointer);
            Pointer = IntPtr.Zero;
        }
    }

    /// <summary>Files in memory that stay where they are while the library reads them; none for null.</summary>
    internal sealed class LentFiles : IDisposable
    {
        private readonly List<GCHandle> pinned = new List<GCHandle>();
        private readonly List<Utf8Text> names = new List<Utf8Text>();

        internal LentFiles(IReadOnlyDictionary<string, byte[]> files)
        {
            var list = new List<Native.File>();
            foreach (KeyValuePair<string, byte[]> file in files ?? new Dictionary<string, byte[]>())
            {
                names.Add(new Utf8Text(file.Key));
                IntPtr data = Pin(file.Value);
                list.Add(new Native.File { name = names[names.Count - 1].Pointer, data = data, size = (UIntPtr)file.Value.Length });
            }
            Count = list.Count;
            Pointer = files == null ? IntPtr.Zero : Pin(list.ToArray());
        }

        internal IntPtr Pointer { get; }

        internal int Count { get; }

        public void Dispose()
        {
            pinned.ForEach(handle => handle.Free());
            names.ForEach(name => name.Dispose());
        }

        private IntPtr Pin(object array)
        {
            GCHandle handle = GCHandle.Alloc(array, GCHandleType.Pinned);
            pinned.Add(handle);
            return handle.AddrOfPinnedObject();
        }
    }

    /// <summary>The calls and structs of tisdiss_rt.h, which documents them.</summary>
    internal static class Native
    {
        private const string Library = "tisdiss_rt";

        [StructLayout(LayoutKind.Sequential)]
        internal struct OpenOptions
        {
            public UIntPtr size;
            public IntPtr onnxruntime;
            public IntPtr provider;
            public IntPtr precision;
            public int threads;
            public int reserved;
            public IntPtr files;
            public UIntPtr file_count;
            public IntPtr onnxruntime_api;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct File
        {
            public IntPtr name;
            public IntPtr data;
            public UIntPtr size;
        }

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate int Progress(IntPtr data, double done);

        [StructLayout(LayoutKind.Sequential)]
        internal struct RunOptions
        {
            public UIntPtr size;
            public double budget_ms;
            public int depth;
            public int min_depth;
            public double window_s;
            public IntPtr progress;
            public IntPtr progress_data;
            public double min_gain_db;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Info
        {
            public UIntPtr size;
            public IntPtr name;
            public IntPtr provider;
            public IntPtr precision;
            public IntPtr licence;
            public int threads;
            public int sample_rate;
            public int sources;
            public int trained_depth;
            public int max_depth;
            public int streaming;
            public int step_samples;
            public int latency_samples;
            public IntPtr onnxruntime_version;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct Report
        {
            public UIntPtr size;
            public double window_s;
            public double predicted_ms;
            public double quality_db;
            public double elapsed_ms;
            public ulong steps;
            public ulong misses;
            public int planned_depth;
            public int depth;
            public double estimate_db;
            public double low_db;
            public double high_db;
        }

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr tisdiss_version();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr tisdiss_error_text(IntPtr none);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Status tisdiss_open(IntPtr folder, ref OpenOptions options, out BundleHandle bundle);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void tisdiss_close(IntPtr bundle);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Status tisdiss_get_info(BundleHandle bundle, ref Info info);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Status tisdiss_separate(BundleHandle bundle, ref float mix, UIntPtr samples,
            ref RunOptions options, ref float rows, UIntPtr capacity, ref Report report);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Status tisdiss_stream_open(BundleHandle bundle, ref RunOptions options,
            out StreamHandle stream);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void tisdiss_stream_free(IntPtr stream);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern UIntPtr tisdiss_stream_ready(StreamHandle stream, UIntPtr samples);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern UIntPtr tisdiss_stream_rest(StreamHandle stream);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Status tisdiss_stream_process(StreamHandle stream, ref float mix, UIntPtr samples,
            ref float rows, UIntPtr capacity, out UIntPtr given);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Status tisdiss_stream_flush(StreamHandle stream, ref float rows, UIntPtr capacity,
            out UIntPtr given);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Status tisdiss_stream_reset(StreamHandle stream);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Status tisdiss_stream_set_depth(StreamHandle stream, int depth);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Status tisdiss_stream_get_report(StreamHandle stream, ref Report report);

        /// <summary>Throws for a call that failed on this thread just now.</summary>
        internal static void Check(Status status)
        {
            if (status != Status.Ok)
            {
                throw new TisdissException(status, tisdiss_error_text(IntPtr.Zero));
            }
        }

        internal static UIntPtr Size<T>() => (UIntPtr)Marshal.SizeOf(typeof(T));

        internal static string FromUtf8(IntPtr text)
        {
            var bytes = new List<byte>();
            for (byte next; (next = Marshal.ReadByte(text, bytes.Count)) != 0;)
            {
                bytes.Add(next);
            }
            return Encoding.UTF8.GetString(bytes.ToArray());
        }

        /// <summary>Copies rows that lie one after the other into arrays of their own.</summary>
        internal static float[][] Rows(float[] flat, int sources, int samples)
        {
            var rows = new float[sources][];
            for (int source = 0; source < sources; source++)
            {
                rows[source] = new float[samples];
                Array.Copy(flat, source * samples, rows[source], 0, samples);
            }
            return rows;
        }
    }
}
