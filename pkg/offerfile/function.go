package offerfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	yaml "github.com/zclconf/go-cty-yaml"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/obolctl/obolctl/pkg/offer"
)

// secretType is the type of references to secrets: a value that goes nowhere
// but into headers.
var secretType = cty.Capsule("reference to a secret", reflect.TypeFor[offer.Secret]())

// rangeLimit is how many numbers range may give.
const rangeLimit = 100_000

// functions lists what expressions may call. None of it reads the network or
// the clock; file reads below dir.
func functions(dir string) map[string]function.Function {
	return map[string]function.Function{
		"abs": stdlib.AbsoluteFunc, "can": tryfunc.CanFunc, "ceil": stdlib.CeilFunc, "chomp": stdlib.ChompFunc,
		"chunklist": stdlib.ChunklistFunc, "coalesce": stdlib.CoalesceFunc, "coalescelist": stdlib.CoalesceListFunc,
		"compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "csvdecode": stdlib.CSVDecodeFunc,
		"distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "file": fileFunc(dir), "flatten": stdlib.FlattenFunc,
		"floor": stdlib.FloorFunc, "format": stdlib.FormatFunc, "formatlist": stdlib.FormatListFunc, "indent": stdlib.IndentFunc,
		"index": stdlib.IndexFunc, "join": stdlib.JoinFunc, "jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc,
		"keys": stdlib.KeysFunc, "length": stdlib.LengthFunc, "log": stdlib.LogFunc, "lookup": stdlib.LookupFunc,
		"lower": stdlib.LowerFunc, "max": stdlib.MaxFunc, "merge": stdlib.MergeFunc, "min": stdlib.MinFunc,
		"parseint": stdlib.ParseIntFunc, "pow": stdlib.PowFunc, "range": rangeFunc(), "regex": stdlib.RegexFunc,
		"regexall": stdlib.RegexAllFunc, "regexreplace": stdlib.RegexReplaceFunc, "replace": stdlib.ReplaceFunc,
		"reverse": stdlib.ReverseListFunc, "secret_env": secretFunc("name", func(s string) offer.Secret { return offer.Secret{Env: s} }),
		"secret_file":     secretFunc("path", func(s string) offer.Secret { return offer.Secret{File: secretPath(dir, s)} }),
		"setintersection": stdlib.SetIntersectionFunc, "setproduct": stdlib.SetProductFunc, "setsubtract": stdlib.SetSubtractFunc,
		"setunion": stdlib.SetUnionFunc, "signum": stdlib.SignumFunc, "slice": stdlib.SliceFunc, "sort": stdlib.SortFunc,
		"split": stdlib.SplitFunc, "strlen": stdlib.StrlenFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc,
		"title": stdlib.TitleFunc, "tobool": stdlib.MakeToFunc(cty.Bool), "tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
		"tomap": stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)), "tonumber": stdlib.MakeToFunc(cty.Number),
		"toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)), "tostring": stdlib.MakeToFunc(cty.String), "trim": stdlib.TrimFunc,
		"trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc, "try": tryfunc.TryFunc,
		"upper": stdlib.UpperFunc, "values": stdlib.ValuesFunc, "yamldecode": yaml.YAMLDecodeFunc, "yamlencode": yaml.YAMLEncodeFunc,
		"zipmap": stdlib.ZipmapFunc,
	}
}

// secretPath gives the file of a secret as a gateway finds it, whatever folder
// that runs in: what is relative is beside the offers file, and "~/" is the
// gateway's to resolve.
func secretPath(dir, path string) string {
	if path == "" || filepath.IsAbs(path) || strings.HasPrefix(path, "~/") {
		return path
	}
	if abs, err := filepath.Abs(filepath.Join(dir, path)); err == nil {
		return abs
	}
	return path
}

func secretFunc(param string, refer func(string) offer.Secret) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: param, Type: cty.String}},
		Type:   function.StaticReturnType(secretType),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s := refer(args[0].AsString())
			if s == (offer.Secret{}) {
				return cty.NilVal, function.NewArgErrorf(0, "the %s is empty", param)
			}
			return cty.CapsuleVal(secretType, &s), nil
		},
	})
}

// fileFunc reads text below dir; a symbolic link that leads out is refused.
func fileFunc(dir string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			path := args[0].AsString()
			if !filepath.IsLocal(path) {
				return cty.NilVal, function.NewArgErrorf(0, "%q does not lie below the folder of the offers file", path)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "cannot open the folder of the offers file: %v", err)
			}
			data, err := root.ReadFile(path)
			err = errors.Join(err, root.Close())
			if err != nil {
				return cty.NilVal, function.NewArgErrorf(0, "cannot read %q below the folder of the offers file: %v", path, err)
			}
			if !utf8.Valid(data) {
				return cty.NilVal, function.NewArgErrorf(0, "%q is not text in UTF-8", path)
			}
			return cty.StringVal(string(data)), nil
		},
	})
}

// rangeFunc is the range of go-cty with a higher limit: range(max),
// range(start, limit), range(start, limit, step).
func rangeFunc() function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "numbers", Type: cty.Number},
		Type:     function.StaticReturnType(cty.List(cty.Number)),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if len(args) < 1 || len(args) > 3 {
				return cty.NilVal, errors.New("range takes one, two or three numbers")
			}
			if len(args) == 1 {
				args = []cty.Value{cty.Zero, args[0]}
			}
			start, limit := args[0], args[1]
			step := cty.NumberIntVal(1)
			if limit.LessThan(start).True() {
				step = cty.NumberIntVal(-1)
			}
			if len(args) == 3 {
				step = args[2]
			}
			return count(start, limit, step)
		},
	})
}

func count(start, limit, step cty.Value) (cty.Value, error) {
	up := limit.GreaterThan(start).True()
	if step.Equals(cty.Zero).True() || !limit.Equals(start).True() && up != step.GreaterThan(cty.Zero).True() {
		return cty.NilVal, function.NewArgErrorf(2, "the step never reaches the limit")
	}
	var out []cty.Value
	for n := start; up && n.LessThan(limit).True() || !up && n.GreaterThan(limit).True(); n = n.Add(step) {
		if len(out) == rangeLimit {
			return cty.NilVal, fmt.Errorf("more than %d numbers", rangeLimit)
		}
		out = append(out, n)
	}
	if len(out) == 0 {
		return cty.ListValEmpty(cty.Number), nil
	}
	return cty.ListVal(out), nil
}

// headers reads a map of header values: secrets or plain text.
func (r *reader) headers(s *section, name string) (map[string]offer.Secret, found) {
	val, f := r.value(s, name)
	if f != got {
		return nil, f
	}
	if ty := val.Type(); !ty.IsObjectType() && !ty.IsMapType() {
		r.failIn(s, name, "Wrong type", fmt.Sprintf("%q takes a map, such as { Authorization = secret_file(PATH) }.", name))
		return nil, broken
	}
	out := map[string]offer.Secret{}
	vals := val.AsValueMap()
	for _, k := range sortedKeys(vals) {
		secret, why := headerValue(k, vals[k])
		if why != "" {
			r.failIn(s, name, "Bad header", why)
			return nil, broken
		}
		out[k] = secret
	}
	return out, got
}

func headerValue(name string, val cty.Value) (offer.Secret, string) {
	if !isToken(name) {
		return offer.Secret{}, fmt.Sprintf("%q is not the name of a header.", name)
	}
	if val.IsNull() {
		return offer.Secret{}, fmt.Sprintf("Header %q has no value.", name)
	}
	if val.Type().Equals(secretType) {
		return *val.EncapsulatedValue().(*offer.Secret), ""
	}
	text, err := convert.Convert(val, cty.String)
	if err != nil {
		return offer.Secret{}, fmt.Sprintf("Header %q takes text, secret_file(PATH) or secret_env(NAME).", name)
	}
	plain := text.AsString()
	for _, c := range plain {
		if c < ' ' && c != '\t' || c == 0x7f {
			return offer.Secret{}, fmt.Sprintf("Header %q holds a control character, such as the end of a line.", name)
		}
	}
	if plain == "" {
		return offer.Secret{}, fmt.Sprintf("Header %q is empty.", name)
	}
	return offer.Secret{Plain: plain}, ""
}

// isToken reports whether s may be the name of a header (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", c) {
			return false
		}
	}
	return s != ""
}
