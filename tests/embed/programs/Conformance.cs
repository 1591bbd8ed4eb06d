// The same as conformance.c by the C# binding.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using TisdissRt;

internal static class Conformance
{
    private static int Main(string[] arguments)
    {
        try
        {
            using (var separator = new Separator(arguments[0]))
            {
                byte[] bytes = File.ReadAllBytes(arguments[1]);
                var mix = new float[bytes.Length / sizeof(float)];
                Buffer.BlockCopy(bytes, 0, mix, 0, bytes.Length);
                for (int i = 2; i + 1 < arguments.Length; i += 2)
                {
                    float[] rows = Run(separator, mix, arguments[i].Split(':')).SelectMany(row => row).ToArray();
                    var result = new byte[rows.Length * sizeof(float)];
                    Buffer.BlockCopy(rows, 0, result, 0, result.Length);
                    File.WriteAllBytes(arguments[i + 1], result);
                }
            }
            return 0;
        }
        catch (TisdissException error)
        {
            Console.Error.WriteLine("error: " + error.Message);
            return 1;
        }
    }

    // What a word sets: nothing if it is 0, as in C.
    private static double? Given(string word)
    {
        double number = double.Parse(word, CultureInfo.InvariantCulture);
        return number == 0 ? (double?)null : number;
    }

    private static float[][] Run(Separator separator, float[] mix, string[] what)
    {
        int[] depths = what[1].Split(',').Select(int.Parse).ToArray();
        var options = new RunOptions { Depth = depths.Max() };
        if (what[0] == "separate")
        {
            return separator.Separate(mix, options);
        }
        if (what[0] == "estimate")
        {
            options.WindowS = Given(what[2]);
            options.MinGainDb = Given(what[3]);
            float[][] rows = separator.Separate(mix, options);
            return Tell(separator.Report, rows);
        }
        if (what[0] == "windows")
        {
            options.WindowS = Given(what[2]);
            return separator.Separate(mix, options);
        }
        using (SeparationStream stream = separator.OpenStream(options))
        {
            if (what[0] == "told")
            {
                float[][] rows = ByChunks(stream, mix, int.Parse(what[2]));
                return Tell(stream.Report, rows);
            }
            return what[0] == "stream" ? ByChunks(stream, mix, int.Parse(what[2])) : BySteps(stream, separator, mix, depths);
        }
    }

    private static float[][] Tell(Report report, float[][] rows)
    {
        double[] told = { report.EstimateDb, report.LowDb, report.HighDb, report.Depth };
        told.Select(value => (float)value).ToArray().CopyTo(rows[0], 0);
        return rows;
    }

    private static float[][] ByChunks(SeparationStream stream, float[] mix, int chunk)
    {
        var pieces = new List<float[][]>();
        for (int at = 0; at < mix.Length; at += chunk)
        {
            pieces.Add(stream.Process(mix.Skip(at).Take(chunk).ToArray()));
        }
        pieces.Add(stream.Flush());
        return Join(pieces);
    }

    private static float[][] BySteps(SeparationStream stream, Separator separator, float[] mix, int[] depths)
    {
        int step = separator.Info.StepSamples;
        var padded = new float[depths.Length * step];
        mix.CopyTo(padded, 0);
        var pieces = new List<float[][]>();
        for (int i = 0; i < depths.Length; i++)
        {
            stream.SetDepth(depths[i]);
            pieces.Add(stream.Process(padded.Skip(i * step).Take(step).ToArray()));
        }
        return Join(pieces).Select(row => row.Take(mix.Length).ToArray()).ToArray();
    }

    private static float[][] Join(List<float[][]> pieces)
    {
        return pieces[0].Select((_, source) => pieces.SelectMany(piece => piece[source]).ToArray()).ToArray();
    }
}
