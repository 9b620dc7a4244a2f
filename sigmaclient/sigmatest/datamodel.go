package sigmatest

import "slices"

func listDataModels(a *ask) answer {
	var all []*DataModel
	for i := range a.org.DataModels {
		if m := &a.org.DataModels[i]; m.Unsent {
			a.unsent++
		} else {
			all = append(all, m)
		}
	}
	return page(a, withMore, all, func(m *DataModel) object { return dataModelObject(a, m) })
}

func dataModelObject(a *ask, m *DataModel) object {
	body := document(a, "dataModel", m.ID, m.Name, m.Path, m.Owner, m.Version, m.CreatedAt, m.UpdatedAt)
	body["isArchived"] = false
	if a.URL.Query().Get("excludeTags") != "true" {
		body["tags"] = []object{}
	}
	return withRaw(body, m.Raw)
}

// inDataModel finds the data model that a call is about, by its id or the id in
// its URL.
func inDataModel(handle func(*ask, *DataModel) answer) func(*ask) answer {
	return func(a *ask) answer {
		m := a.dataModels[a.PathValue("dataModelId")]
		if m == nil {
			return notFound()
		}
		if failure, fails := failureOf(m.Failures, a.Request); fails {
			return failure.answer()
		}
		return handle(a, m)
	}
}

func (m *DataModel) elements() []*Element { return elementsOf([]Page{{Elements: m.Elements}}) }

func (m *DataModel) graph(a *ask) graph {
	return graph{org: &a.org, elements: m.elements(), references: a.org.referencesOf(m.References)}
}

func getDataModel(a *ask, m *DataModel) answer { return ok(dataModelObject(a, m)) }

func dataModelElements(a *ask, m *DataModel) answer {
	if a.URL.Query().Get("tagName") != "" {
		return notFound()
	}
	return page(a, plain, a.placed(m.elements()), a.elementObject)
}

func dataModelColumns(a *ask, m *DataModel) answer {
	return page(a, plain, a.columnsOf(m.elements()...), columnOfMany)
}

func dataModelLineage(a *ask, m *DataModel) answer {
	return m.graph(a).lineage(a)
}

// dataModelSources names tables by another field than workbooks' sources do.
func dataModelSources(a *ask, m *DataModel) answer {
	listed := slices.DeleteFunc(m.graph(a).external(), func(s source) bool { return s.listed == nil })
	return page(a, byToken, listed, func(s source) object {
		switch s.listed["type"] {
		case "table":
			return object{"type": "table", "tableId": s.id}
		case "dataset":
			return object{"type": "dataset", "datasetId": s.id}
		}
		return s.listed
	})
}

func dataModelTags(a *ask, _ *DataModel) answer {
	return page(a, plain, []object{}, func(tag object) object { return tag })
}

func dataModelQuery(a *ask, m *DataModel) answer {
	if a.URL.Query().Get("tagName") != "" {
		return notFound()
	}
	return oneQuery(a, m.elements(), nil)
}
